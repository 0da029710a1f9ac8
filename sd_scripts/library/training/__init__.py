"""The trainer: from accepted options to saved weights. Importing this package loads no torch; its modules do."""
