"""Whether a file is a whole and harmless PDF, asked of child processes with limits."""
