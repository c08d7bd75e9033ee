"""`invoicedrop check`: tests the whole set-up."""
