//! Measures what Paddock promises, on the machine of the person who asks.
