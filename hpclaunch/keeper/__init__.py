"""The keeper: one long-lived process on the laptop for each site with live sessions.

It holds the one authenticated connection, watches the sessions' jobs, keeps their tunnels and
heals both. Commands talk to it through `client`; it asks nobody anything and ends after the last
session.
"""
