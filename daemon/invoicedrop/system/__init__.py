"""What the operating system does for us: moves that never overwrite, rights explained, sealed memory."""
