"""The load tester: thousands of simulated users over real WebSockets, and what they saw.

Data flows one way: scenario -> users in worker processes -> reports -> record -> view, report, comparison.
"""
