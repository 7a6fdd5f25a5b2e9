"""Sessions leased: the policy, and what does what it says."""
