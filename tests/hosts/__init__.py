"""Hosts of their own on one machine: network namespaces that a bridge joins, without the rights of root.

``lab`` has the hosts, and ``relay`` carries connections between them and the tests.
"""
