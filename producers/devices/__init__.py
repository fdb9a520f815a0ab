"""What devices there are: types and faults as data, and fleets made of them."""
