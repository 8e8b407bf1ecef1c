"""The listeners: gRPC for proxies, HTTP for orchestrators and scrapers."""
