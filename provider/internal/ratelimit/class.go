package ratelimit

// A Class says what bounds how often the work behind a route is done: the strictest
// that any method of the route needs. Every route names one. The zero Class is none of
// them, so that a route which says nothing is found.
type Class int

const (
	// Open work is not bounded: it guesses nothing, sends nothing, and tells what is
	// public or what the caller has brought along.
	Open Class = iota + 1
	// Held work needs a session, a token or a handle of ours, which nobody can guess.
	Held
	// Clients work needs a client's secret, which nobody can guess either: it is drawn at
	// random.
	Clients
	// Sends work mails a code, so many for one source.
	Sends
	// Tries work compares a code: so often for one source, one verification and one
	// account.
	Tries
	// Passwords work compares a password: so often for one source and one account, and
	// so many at once.
	Passwords
)

// String returns the name of the class, "undeclared" for the zero one.
func (c Class) String() string {
	names := []string{"undeclared", "open", "held", "clients", "sends", "tries", "passwords"}
	if c < 0 || int(c) >= len(names) {
		return "unknown"
	}
	return names[c]
}
