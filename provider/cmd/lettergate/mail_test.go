package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lettergate/lettergate/provider/mail/mailtest"
)

type mailServerKey struct{}

// startsMailServers returns the commands of scripts that send mail.
func startsMailServers(t *testing.T) map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"mailserver": func(ts *testscript.TestScript, neg bool, args []string) { startMailServer(t, ts, neg, args) },
		"mails":      countMails,
	}
}

// mailserver [FEATURE | STEP=REPLY]... starts a mail server that misbehaves as said,
// and puts it into the variables that lettergate reads. It wants the password of the
// user robot. The last one started is the one that counts.
func startMailServer(t *testing.T, ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: mailserver [feature | step=reply]...")
	}
	config := mailtest.ServerConfig{Username: "robot", Password: "do-not-show"}
	faults := map[string]mailtest.Fault{}
	for _, arg := range args {
		step, reply, isFault := strings.Cut(arg, "=")
		switch {
		case isFault:
			faults[step] = mailtest.Fault{Reply: reply}
		case arg == "ssl":
			config.ImplicitTLS = true
		case arg == "nostarttls":
			config.NoSTARTTLS = true
		case arg == "nopassword":
			config.Username, config.Password = "", ""
		case arg == "wrongname":
			config.Certificate = mailtest.WrongName
		default:
			ts.Fatalf("mailserver: unknown feature %s", arg)
		}
	}
	server := mailtest.NewServer(t, config)
	for step, fault := range faults {
		server.Fault(step, fault)
	}
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), server.RootsPEM, 0o600))
	ts.Setenv("LETTERGATE_MAIL_HOST", server.Host)
	ts.Setenv("LETTERGATE_MAIL_PORT", strconv.Itoa(server.Port))
	ts.Setenv("LETTERGATE_MAIL_CA_FILE", "ca.pem")
	ts.Value(mailServerKey{}).(map[string]*mailtest.Server)["last"] = server
}

// mails NUMBER [TEXT]... checks how many mails the last mail server has, and what is in
// each.
func countMails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: mails number [text]...")
	}
	mails := ts.Value(mailServerKey{}).(map[string]*mailtest.Server)["last"].Mails()
	if strconv.Itoa(len(mails)) != args[0] {
		ts.Fatalf("the server has %d mails, want %s", len(mails), args[0])
	}
	for _, m := range mails {
		for _, text := range args[1:] {
			if !strings.Contains(m.From+m.To+string(m.Raw), text) {
				ts.Fatalf("%q is not in:\n%s\n%s\n%s", text, m.From, m.To, m.Raw)
			}
		}
	}
}
