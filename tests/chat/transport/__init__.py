"""Tests of chat.transport."""
