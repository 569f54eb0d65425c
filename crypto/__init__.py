"""Identities, certificates, envelopes, replies and receipts: who said what, and who may read it."""
