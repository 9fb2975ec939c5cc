package storage

// A Kind says what a record is. The list is closed: it is the one place where
// the names of stored things are made, and what decides which of two stores
// keeps a record and how durably.
type Kind string

// Accounts: what must survive a power failure.
const (
	User       Kind = "user"       // user/<subject>
	Email      Kind = "email"      // email/<address>: the claim of an address, naming a subject
	Username   Kind = "username"   // username/<name>: the claim of a name
	Password   Kind = "password"   // password/<subject>: a hash
	Profile    Kind = "profile"    // profile/<subject>: what a person says about themselves
	Consent    Kind = "consent"    // consent/<subject>/<client>
	Client     Kind = "client"     // client/<client_id>
	Keys       Kind = "keys"       // keys/set: the sealed signing keys
	Deployment Kind = "deployment" // deployment/this: which epoch the tokens are in
)

// Everything else lives minutes to weeks and may be lost with the last moments
// before a power failure.
const (
	Grant        Kind = "grant"        // grant/<id>: one authorization with its code and token family
	Session      Kind = "session"      // session/<id>: one signed-in browser
	Verification Kind = "verification" // verification/<id>: one emailed code
	Outbox       Kind = "outbox"       // outbox/<id>: something to be sent
	Revoked      Kind = "revoked"      // revoked/<jti>: one access token ended before its time
	Device       Kind = "device"       // device/<id>: a browser or device that has signed in before
	Replay       Kind = "replay"       // replay/<id>: something that may be used once
	Lease        Kind = "lease"        // lease/<job>: who does a periodic job
	Epoch        Kind = "epoch"        // epoch/store: which deployment the tokens belong to
	Counter      Kind = "counter"      // counters, the only kind that Add takes
)

// Account reports whether records of this kind are accounts: kept for years, and
// not acknowledged before they would survive a power failure.
func (k Kind) Account() bool {
	switch k {
	case User, Email, Username, Password, Profile, Consent, Client, Keys, Deployment:
		return true
	}
	return false
}

func (k Kind) known() bool {
	switch k {
	case Grant, Session, Verification, Outbox, Revoked, Device, Replay, Lease, Epoch, Counter:
		return true
	}
	return k.Account()
}
