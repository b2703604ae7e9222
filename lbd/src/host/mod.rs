//! The one place that owns netlink, and the list of what lbd changes on the box.
