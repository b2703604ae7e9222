//! The health check's SMTP dialogue, without a socket.
