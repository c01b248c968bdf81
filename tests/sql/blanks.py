"""Texts that count as blank: empty, or only of white space and invisible characters."""

BLANKS = [
    "",
    " ",
    "\t\r\n",
    "\u00a0",
    "\u3000\u2003 ",
    "\u200b",
    "\ufeff",
    "\u2028\u2029",
    "\u2060",
    "\u200d",
    "\u200e\u202e",
    "\u00ad",
    "\u2800\u3164",
]
