// Package config describes a Lettergate deployment: one YAML file, every key
// also as an environment variable, secrets also from files.
//
// [Load] puts the layers together (defaults, file, environment, secret files) and
// reports every fault at once, each with its place, what is wrong and what would be
// right. A program that embeds the provider may also fill a Config by hand, as a
// plain struct: provider.New calls [Config.WithDefaults] and [Config.Validate].
//
// The package's invariants: what Load returns is complete and valid; the zero value
// of each field is the safe choice or stands for the default that the field names;
// what is unsafe is called insecure_ and refused for an https issuer; and no [Secret]
// is ever printed.
//
// The scheme of the issuer is the one switch: http, which only a loopback host can
// have, is a development server that needs nothing else; https has to have secrets
// and a way for mail to leave.
package config

// A Config is one deployment. It is plain data: copy it freely, and do not change
// it after it was handed to provider.New.
type Config struct {
	// Issuer is the public URL of this identity provider, exactly as clients and
	// tokens name it: https, or http on a loopback host. It may have a path; it
	// has no query, fragment or trailing slash. Default http://localhost:8080.
	Issuer string `yaml:"issuer" validate:"required,issuer"`

	// Listen is the address that the lettergate command serves on, host:port, or
	// :port for all addresses. Default localhost:8080, or where an http Issuer
	// points. Embedding programs serve as they like.
	Listen string `yaml:"listen" validate:"required,listen"`

	// InsecureListen lets an http issuer listen on more than the loopback interface,
	// for a container whose port is published on this machine only. Whoever reaches
	// the port can read the development mailbox, and with it sign in as anybody.
	InsecureListen bool `yaml:"insecure_listen"`

	// DataDir is where the embedded store and, with an http Issuer and no Secrets,
	// a generated secret live. Default "lettergate-data".
	DataDir string `yaml:"data_dir" validate:"required"`

	// Secrets are what every derived and sealed value comes from. The first makes
	// new values, the others are accepted as long as they are listed. Required
	// for an https Issuer.
	Secrets []SecretKey `yaml:"secrets" validate:"dive"`

	// TrustedProxies are the networks (CIDR) whose X-Forwarded-For is believed.
	// Default none.
	TrustedProxies []string `yaml:"trusted_proxies" validate:"unique,dive,network"`

	// Storage says where state is kept.
	Storage Storage `yaml:"storage"`
	// Mail says how mail leaves.
	Mail Mail `yaml:"mail"`
	// Verification is about emailed codes.
	Verification Verification `yaml:"verification"`
	// Limits bound how often codes and passwords are tried.
	Limits Limits `yaml:"limits"`
	// Passwords are about the passwords that people may choose beside codes. They are
	// kept as argon2id (RFC 9106). Hashing takes up to concurrent times memory at once:
	// with the defaults 76 MiB.
	Passwords Passwords `yaml:"passwords"`
	// Tokens are the lives of codes and tokens.
	Tokens Tokens `yaml:"tokens"`
	// Sessions are the lives of signed-in browsers.
	Sessions Sessions `yaml:"sessions"`
	// Keys are about signing keys.
	Keys Keys `yaml:"keys"`
	// Pages are what people see.
	Pages Pages `yaml:"pages"`
	// Outbound is about what the provider itself asks of others: a client's jwks_uri. Only
	// public addresses are asked, by https, for at most 3 seconds and 64 KiB.
	Outbound Outbound `yaml:"outbound"`
	// Clients are the applications that may use this provider. Default none.
	Clients []Client `yaml:"clients" validate:"dive"`

	// InsecureTestCodes are addresses whose code is always the same, for scripted
	// browsers: no mail is sent to them and no limit counts for them. Refused unless the
	// issuer is http on a loopback host. Default none.
	InsecureTestCodes []TestCode `yaml:"insecure_test_codes" validate:"dive"`
}

// A TestCode is an address and the code that always signs it in.
type TestCode struct {
	// Email is the address, bare. Each is listed once.
	Email string `yaml:"email" validate:"required,address"`
	// Code is its code, 6 to 10 digits, whatever Verification says.
	Code Secret `yaml:"code" validate:"required,code"`
}

// A SecretKey is one secret of the deployment.
type SecretKey struct {
	// ID marks what was made with this secret. Never reuse one for another value.
	ID string `yaml:"id" validate:"required,max=64,key_id"`
	// Value is at least 32 characters from a random source.
	Value Secret `yaml:"value" validate:"required,min=32"`
}

// Storage says where state is kept.
type Storage struct {
	// URL is sqlite:///absolute/path.db or sqlite:relative.db (relative to DataDir),
	// for one process, or for several postgres://user:password@host:5432/database,
	// redis://user:password@host:6379/0, redis+cluster://user:password@host,host or
	// redis+sentinel://user:password@host,host/master/0; rediss, rediss+cluster and
	// rediss+sentinel are Redis with TLS. In a user or a password, what is no letter,
	// digit or one of -._~ is written as %XX. Default sqlite:lettergate.db.
	//
	// PostgreSQL takes most connection parameters of libpq, as in ?sslmode=verify-full,
	// which it has by default for another machine, and schema (default lettergate) and max_conns
	// (of each process, default 16); behind PgBouncer it needs
	// default_query_exec_mode=cache_describe. A directory of Unix sockets is
	// postgres:///database?host=/run/postgresql. Redis takes prefix (of all keys,
	// default lettergate:), ca_file (authorities to trust instead of the system's),
	// wait (how many replicas have to have a write before it counts, default 0),
	// sentinel_username and sentinel_password.
	URL Secret `yaml:"url" validate:"required,storage_url"`

	// AccountsURL is where accounts, consents, clients and keys are kept when they
	// shall not be with tokens, codes and sessions; it is written as URL is. Say it
	// to have each where it is best off: accounts in a PostgreSQL that is backed up and
	// loses nothing, what lives for minutes to weeks in a Redis that is fast. Then
	// an emptied Redis signs everybody out, and nobody has lost an account. Without it
	// all is kept at URL.
	AccountsURL Secret `yaml:"accounts_url" validate:"omitempty,storage_url"`
}

// Verification is about emailed codes.
type Verification struct {
	// Digits is the length of a code, 6 to 10. Default 6.
	Digits int `yaml:"digits" validate:"min=6,max=10"`
	// Lifetime is how long a code can be used, at most 10m. Default 10m.
	Lifetime Duration `yaml:"lifetime" validate:"min_duration=1m,max_duration=10m"`
}

// Limits bound how often codes and passwords are tried. Each number per account and
// per source holds for codes and, counted apart, for passwords.
type Limits struct {
	// Profile is production or development, which allows 100 times as much per
	// source and is refused for an https issuer. Default development for an http
	// issuer, production for an https one.
	Profile string `yaml:"profile" validate:"oneof=production development"`
	// TriesPerVerification is how many wrong codes end one verification. Default 5.
	TriesPerVerification int `yaml:"tries_per_verification" validate:"min=1,max=10"`
	// TriesPerAccount is how many wrong tries one address takes in 24 hours from
	// strangers, over all its verifications. Default 10.
	TriesPerAccount int `yaml:"tries_per_account" validate:"min=1,max=100"`
	// TriesPerKnownAccount is the same from a device that has signed in as that address
	// before, counted apart for each: nobody else's wrong tries lock the owner out there.
	// Default 20.
	TriesPerKnownAccount int `yaml:"tries_per_known_account" validate:"min=1,max=100"`
	// TriesPerSource is how many tries one network (IPv4 address, IPv6 /64) has
	// in 10 minutes, and how many codes it can have mailed, counted apart. What ends in a
	// sign-in does not count. Default 20.
	TriesPerSource int `yaml:"tries_per_source" validate:"min=1"`
}

// Passwords are about the passwords that people may choose beside codes.
type Passwords struct {
	// MinLength is how many characters a password has at least, 8 to 64. Default 8.
	MinLength int `yaml:"min_length" validate:"min=8,max=64"`
	// MaxLength is how many it has at most, 16 to 128 and not below MinLength. Default
	// 32.
	MaxLength int `yaml:"max_length" validate:"min=16,max=128"`
	// AnyCharacters takes every password of the right length. Without it a password
	// has at least one letter and one digit.
	AnyCharacters bool `yaml:"any_characters"`
	// Memory is what computing one hash takes, in KiB, 8192 to 262144. Default 19456.
	Memory int `yaml:"memory" validate:"min=8192,max=262144"`
	// Iterations are the passes over that memory, 1 to 10. Default 2.
	Iterations int `yaml:"iterations" validate:"min=1,max=10"`
	// Parallelism is how many threads compute one hash, 1 to 16. Default 1.
	Parallelism int `yaml:"parallelism" validate:"min=1,max=16"`
	// Concurrent is how many hashes are computed at once; others wait. Memory is
	// bounded by Concurrent times Memory. 1 to 64. Default 4.
	Concurrent int `yaml:"concurrent" validate:"min=1,max=64"`
}

// Tokens are the lives of codes and tokens.
type Tokens struct {
	// Code is how long an authorization code can be exchanged. Default 60s.
	Code Duration `yaml:"code" validate:"min_duration=10s,max_duration=60s"`
	// AccessToken is the life of an access token. Default 10m.
	AccessToken Duration `yaml:"access_token" validate:"min_duration=1m,max_duration=24h"`
	// IDToken is the life of an ID token. Default 10m.
	IDToken Duration `yaml:"id_token" validate:"min_duration=1m,max_duration=24h"`
	// RefreshIdle is how long a refresh token can be used; each use gives a new
	// one. At most RefreshMax. Default 30d.
	RefreshIdle Duration `yaml:"refresh_idle" validate:"min_duration=1h"`
	// RefreshMax is how long after the sign-in refresh tokens are given. Default
	// 90d.
	RefreshMax Duration `yaml:"refresh_max" validate:"min_duration=1h"`
	// RefreshGrace is how long a rotated refresh token still gets the family's
	// current one, counted from its own rotation. 0s ([Off]) is strict: any second
	// use ends the family. Default 60s.
	RefreshGrace Duration `yaml:"refresh_grace" validate:"min_duration=0s,max_duration=5m"`
}

// Sessions are the lives of signed-in browsers.
type Sessions struct {
	// Idle is how long a browser that does nothing stays signed in, at most Max.
	// Default 12h.
	Idle Duration `yaml:"idle" validate:"min_duration=1m"`
	// Max is how long any browser stays signed in. Default 30d.
	Max Duration `yaml:"max" validate:"min_duration=1m"`
}

// Keys are about signing keys.
type Keys struct {
	// RotateEvery is how long a key signs before the next one takes over: at least
	// twice JWKSMaxAge, or 0s ([Off]) for ever. Default 90d.
	RotateEvery Duration `yaml:"rotate_every" validate:"min_duration=0s"`
	// JWKSMaxAge is how long clients may cache the key set. Default 5m.
	JWKSMaxAge Duration `yaml:"jwks_max_age" validate:"min_duration=1m,max_duration=24h"`
}

// Outbound is about what the provider itself asks of others.
type Outbound struct {
	// InsecureAllow are the servers, each as host:port just as URLs name it, that are asked
	// by http too and on addresses that are not public, such as localhost:9000. Refused for
	// an https issuer: whoever can register a URL could look around in its network. Default
	// none.
	InsecureAllow []string `yaml:"insecure_allow" validate:"unique,dive,host_port"`
	// CAFile is a PEM file of authorities to trust besides the system's.
	CAFile string `yaml:"ca_file"`
}

// Pages is what people see.
type Pages struct {
	// Name is what the provider calls itself. Default "Lettergate".
	Name string `yaml:"name" validate:"required,max=64,text"`
}

// The limit profiles.
const (
	ProfileProduction  = "production"
	ProfileDevelopment = "development"
)
