"""What this package costs on the machine it runs on, measured. ``robovlms bench`` calls it; see docs/performance.md."""
