"""What ``quorate devnet --demo`` shows: four contributors, one dishonest, and real data."""
