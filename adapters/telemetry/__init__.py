"""OpenTelemetry: spans and metrics of requests, turns and tools."""
