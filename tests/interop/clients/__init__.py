"""One program for each client software; all take the same steps and print the same records."""
