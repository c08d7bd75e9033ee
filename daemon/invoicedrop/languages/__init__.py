"""What people read in their own language: English stands in the code, the others in catalogues beside this."""
