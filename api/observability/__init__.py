"""What operators see of the API: logs.py, metrics.py and traces.py, all fed by the timings of each request.

The middleware in api/app.py calls `observe` of each observer with a request, its response, its timings, and its end.
"""
