"""One plan on many cards: who measures what, pulled together, and what the cards are good for."""
