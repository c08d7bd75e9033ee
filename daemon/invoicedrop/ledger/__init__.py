"""What is known about each invoice, on disk before and after everything that matters."""
