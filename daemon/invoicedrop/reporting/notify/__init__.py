"""Messages about trouble, by Apprise: what is worth one, who was told already, and how it gets out."""
