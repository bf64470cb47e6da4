// The page of benchmark.py needs a script for its frames alone. In the page it follows frames.js.

whenNear($$(".item"), unpack);
