//! A lab of hosts from network namespaces, and the end-to-end tests that use it.
