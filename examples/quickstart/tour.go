package main

import (
	"io"
	"text/template"
)

// printTour says what is running and how to try each grant. The tests run these
// very commands.
func printTour(w io.Writer, issuer, app, data string) {
	tour.Execute(w, map[string]string{ // standard output going away is no error
		"Issuer": issuer, "App": app, "Data": data,
		"SPA": spaID, "Native": nativeID, "Env": envID, "Service": serviceID, "Secret": serviceSecret,
	})
}

var tour = template.Must(template.New("tour").Parse(`
Lettergate quickstart
  app       {{.App}}            sign in here with any address
  mailbox   {{.Issuer}}/dev/mailbox            every mail lands here (JSON: /dev/mailbox/messages.json)
  issuer    {{.Issuer}}/.well-known/openid-configuration
  data      {{.Data}}            remove it to start afresh

Clients
  {{.SPA}}       public, authorization code with PKCE
  {{.Native}}    public, emailed code as a grant
  {{.Env}}       env id for @cloudbase/js-sdk, whose email login is at {{.Issuer}}/auth/v1
  {{.Service}}   confidential, client credentials, secret {{.Secret}}

Sign in with an emailed code, without a browser: ask for a code,

  curl -s {{.Issuer}}/oauth2/verification -d client_id={{.Native}} -d email=you@example.com --data-urlencode 'scope=openid email offline_access notes:read'

read it in the mailbox, and exchange both for tokens:

  curl -s {{.Issuer}}/oauth2/token -d grant_type=urn:lettergate:params:oauth:grant-type:email-captcha -d client_id={{.Native}} -d verification_id=VERIFICATION_ID -d verification_code=CODE

Use the refresh token for new ones:

  curl -s {{.Issuer}}/oauth2/token -d grant_type=refresh_token -d client_id={{.Native}} -d refresh_token=REFRESH_TOKEN

A token for a service itself:

  curl -s {{.Issuer}}/oauth2/token -u {{.Service}}:{{.Secret}} -d grant_type=client_credentials -d scope=notes:read

Call the API with any of these access tokens:

  curl -s {{.App}}/api/notes -H 'Authorization: Bearer ACCESS_TOKEN'

Stop with Ctrl-C.
`))
