package config

import (
	"cmp"
	"fmt"
	"strings"
)

// Mail says how mail leaves. Without a Host, an http issuer shows its mail on the
// development mailbox page and an https issuer is refused.
type Mail struct {
	// Preset fills in Host, Port and Security for a sender that is well known: qq
	// (smtp.qq.com), exmail (smtp.exmail.qq.com), 163 (smtp.163.com) or gmail
	// (smtp.gmail.com), each with ssl on port 465. qq and gmail also take starttls on
	// port 587: say one of the two. The Username is the mailbox, and the sender too when
	// From is empty. qq, 163 and gmail do not take the mailbox's password but an
	// authorization code (qq, 163) or an app password (gmail).
	Preset string `yaml:"preset" validate:"omitempty,oneof=qq exmail 163 gmail"`
	// From is the sender, "name <address>" or a bare address.
	// Required for an https issuer unless a Preset gives it; default
	// "Lettergate <no-reply@localhost>" for an http one.
	From string `yaml:"from" validate:"omitempty,mail_from"`
	// Host is the SMTP server. Required for an https issuer unless a Preset gives it.
	Host string `yaml:"host" validate:"omitempty,host"`
	// Port is 465 for ssl, 587 for starttls and 25 for InsecurePlaintext by default.
	Port int `yaml:"port" validate:"min=0,max=65535"`
	// Security is ssl (TLS from the first byte) or starttls (TLS required before
	// anything is said). Default ssl with a Preset, unless Port is 587, else starttls.
	// Nothing else exists but InsecurePlaintext.
	Security string `yaml:"security" validate:"omitempty,oneof=ssl starttls"`
	// Username and Password go together; without them nobody signs in to the Host.
	// Required with a Preset.
	Username string `yaml:"username" validate:"text"`
	// Password is for Username.
	Password Secret `yaml:"password"`
	// CAFile is a PEM file of authorities to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
	// InsecurePlaintext sends without TLS. Only to a Host on this machine, and
	// refused for an https issuer.
	InsecurePlaintext bool `yaml:"insecure_plaintext"`
}

// The mail securities.
const (
	MailSSL      = "ssl"
	MailStartTLS = "starttls"
)

// misprint is the port that the CloudBase page names where it means 587.
const misprint = 578

// A sender is what a preset stands for.
type sender struct {
	host     string
	startTLS bool   // on port 587, beside ssl on 465
	password string // what it wants for a password
}

const authorizationCode = "it wants an authorization code (授权码), which the settings of the mailbox make where SMTP is turned on, and not the password of the mailbox"

var senders = map[string]sender{
	"qq":     {"smtp.qq.com", true, authorizationCode},
	"exmail": {"smtp.exmail.qq.com", false, "it wants the password of the mailbox or, where secure sign-in is on, a client password (客户端专用密码) from the settings of the mailbox"},
	"163":    {"smtp.163.com", false, authorizationCode},
	"gmail":  {"smtp.gmail.com", true, "it wants an app password, which an account with 2-step verification makes at https://myaccount.google.com/apppasswords, and not the password of the mailbox"},
}

// sender returns what is known of m's Host.
func (m Mail) sender() (sender, bool) {
	for _, s := range senders {
		if strings.EqualFold(s.host, cmp.Or(m.Host, senders[m.Preset].host)) {
			return s, true
		}
	}
	return sender{}, false
}

// PasswordAdvice says what the Host of a well-known sender wants for a password, for
// a sentence that begins before it. It is empty for any other Host.
func (m Mail) PasswordAdvice() string {
	s, _ := m.sender()
	return s.password
}

// fillPreset fills in what the Preset stands for.
func (m *Mail) fillPreset() {
	s, ok := senders[m.Preset]
	if !ok {
		return
	}
	fill(&m.Host, s.host)
	if m.Port == 587 && s.startTLS {
		fill(&m.Security, MailStartTLS)
	}
	if !m.InsecurePlaintext { // which is refused for these hosts
		fill(&m.Security, MailSSL)
	}
	if checkAddress(m.Username) == "" {
		fill(&m.From, m.Username)
	}
}

// fill completes a Mail that has a Host.
func (m *Mail) fill() {
	if m.InsecurePlaintext {
		fill(&m.Port, 25)
		return
	}
	fill(&m.Security, MailStartTLS)
	if m.Security == MailSSL {
		fill(&m.Port, 465)
	}
	fill(&m.Port, 587)
}

func (m Mail) check(l *faultList) {
	if sender, ok := senders[m.Preset]; ok {
		m.checkPreset(l, sender)
	}
	if s, ok := m.sender(); ok && s.startTLS && m.Port == misprint {
		l.add("mail.port", "578 is a misprint of 587 on the CloudBase page; use 587 with starttls, or 465 with ssl")
	}
	if m.InsecurePlaintext && m.Security != "" {
		l.add("mail.security", "%s and insecure_plaintext exclude each other; leave one out", m.Security)
	}
	if m.Username == "" && m.Password != "" && m.Preset == "" { // a preset wants it anyway
		l.add("mail.username", "is required with a password")
	}
	if m.Username != "" && m.Password == "" {
		message := "is required with a username"
		if advice := m.PasswordAdvice(); advice != "" {
			message += ": " + advice
		}
		l.add("mail.password", "%s; write it here, or set %s", message, variablesOf("mail.password"))
	}
}

// checkPreset checks that nothing contradicts the preset.
func (m Mail) checkPreset(l *faultList, s sender) {
	if m.Host != s.host {
		l.add("mail.host", "the preset %s stands for %s; leave one of the two out", m.Preset, s.host)
	}
	if why := m.contradicts(s); why != "" {
		path := "mail.security"
		if m.Port != 465 && m.Port != 587 {
			path = "mail.port"
		}
		l.add(path, "%s", why)
	}
	switch why := checkAddress(m.Username); {
	case m.Username == "":
		l.add("mail.username", "is required with the preset %s: the address of the mailbox", m.Preset)
	case why != "":
		l.add("mail.username", "is the address of the mailbox with the preset %s: %s", m.Preset, why)
	}
}

// contradicts returns why the preset's server cannot be reached by m's Security and
// Port.
func (m Mail) contradicts(s sender) (why string) {
	offers := "security ssl on port 465"
	switch {
	case m.Security == MailSSL && m.Port == 465:
		return ""
	case m.Security != MailSSL && m.Security != MailStartTLS: // which is said elsewhere
		return ""
	case s.startTLS && (m.Port == misprint || m.Security == MailStartTLS && m.Port == 587):
		return ""
	case s.startTLS:
		offers += " and starttls on port 587"
	}
	return fmt.Sprintf("%s offers %s, and not %s on port %d", s.host, offers, m.Security, m.Port)
}
