"""`invoicedrop check`: tries out the whole set-up."""
