"""`parley admin`: what moderators and operators type (docs/admin.md)."""
