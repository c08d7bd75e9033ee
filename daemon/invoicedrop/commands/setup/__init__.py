"""`invoicedrop setup`: settings and token from four answers."""
