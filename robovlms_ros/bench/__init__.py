"""What this package costs on the machine it runs on, measured: ``robovlms bench``, docs/performance.md."""
