"""The tests: packages mirror the code; sim, e2e and faults run whole servers."""
