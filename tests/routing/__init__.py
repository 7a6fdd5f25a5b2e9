"""Names, choices and faces of many servers, without any I/O."""
