"""`parley dev` and `parley listen`: PostgreSQL, Valkey, a Pusher server, the API and the listener on one machine.

stack.py starts all of them, and greeting.py is what it prints. postgres.py, valkey.py, pusher_process.py,
api_process.py and web_app.py run one server each on top of process.py, and pusher_server/ is the Pusher server itself.
account.py is the account that runs PostgreSQL for root, and node.py checks the programs that web_app.py needs.
database.py migrates the database, demo.py fills it, and data_directory.py names the files that the stack keeps. tail.py
is `parley listen`, and session_token.py signs tokens for both. data_directory.py, session_token.py and tail.py need no
extra; the others need the extra `local`.
"""
