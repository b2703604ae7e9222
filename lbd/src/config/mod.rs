//! The configuration file: what it may say, and one clear error for each thing it may not.
