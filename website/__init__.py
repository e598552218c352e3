"""What `make docs` makes while it builds the site: pages from README and the command line, and charts of results."""
