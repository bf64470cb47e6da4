"""What people look at: galleries of samples, tables and plots of results."""
