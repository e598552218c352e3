"""Requests and answers of every task, typed: what OpenAPI shows and what is checked."""
