"""`invoicedrop status`: what waits, what failed, what went."""
