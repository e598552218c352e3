"""What a bundle says about its inputs and answers: one section, one file."""
