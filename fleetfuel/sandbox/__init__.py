"""What the demo and the tests bring along: servers, and a producer of feeds."""
