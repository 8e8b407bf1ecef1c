"""What operators see: metrics, audit, logs, health. All of it is written from one Outcome per request."""
