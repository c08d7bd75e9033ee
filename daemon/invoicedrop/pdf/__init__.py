"""Is it a whole and harmless PDF? Asked of child processes with limits."""
