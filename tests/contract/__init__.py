"""The contract of transports: every pair of ours, and broken ones that must be seen to be broken."""
