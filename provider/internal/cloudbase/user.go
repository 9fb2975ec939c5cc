package cloudbase

import (
	"errors"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/internal/account"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/users"
)

// A profile is what GET user/me answers: who is signed in.
type profile struct {
	Subject       string   `json:"sub"`
	UserID        string   `json:"user_id"`
	Name          string   `json:"name,omitempty"`
	Nickname      string   `json:"nickName,omitempty"`
	Username      string   `json:"username,omitempty"`
	Email         string   `json:"email"`
	EmailVerified bool     `json:"email_verified"`
	Picture       string   `json:"picture,omitempty"`
	AvatarURL     string   `json:"avatarUrl,omitempty"`
	Gender        string   `json:"gender,omitempty"`
	Birthdate     string   `json:"birthdate,omitempty"`
	Zoneinfo      string   `json:"zoneinfo,omitempty"`
	Locale        string   `json:"locale,omitempty"`
	Description   string   `json:"user_desc,omitempty"`
	Password      string   `json:"password,omitempty"` // SET, or left out
	HasPassword   bool     `json:"has_password"`
	PasswordAt    string   `json:"password_updated_at,omitempty"`
	Groups        []string `json:"groups"`
	Providers     []string `json:"providers"`
	Status        string   `json:"status"`
	Type          string   `json:"type"`
	CreatedFrom   string   `json:"created_from"`
	CreatedAt     string   `json:"created_at"`
	UpdatedAt     string   `json:"updated_at"`
	LastLogin     string   `json:"last_login"`
	LastSignInAt  string   `json:"last_sign_in_at"`
}

// me is GET user/me. The SDK calls it after every sign-in.
func (a *API) me(c *call, _ void) (profile, error) {
	u := c.user
	reading := oauthcore.Async(func() (account.Profile, error) { return a.Changes.Profile(c.Context(), u.Subject) })
	changed, has, err := a.Passwords.Changed(c.Context(), u.Subject)
	said, saidErr := reading()
	if err = errors.Join(err, saidErr); err != nil {
		return profile{}, err
	}
	signedIn := moment(time.Unix(c.claims.AuthTime, 0))
	p := profile{
		Subject: c.claims.Subject, UserID: c.claims.Subject, Name: u.Name, Nickname: said.Nickname, Username: u.Username,
		Email: u.Email, EmailVerified: u.EmailVerified, Picture: said.Picture, AvatarURL: said.Picture,
		Gender: said.Gender, Birthdate: said.Birthdate, Zoneinfo: said.Zoneinfo, Locale: u.Locale, Description: said.Description,
		HasPassword: has, Groups: []string{}, Providers: []string{}, Status: "ACTIVE", Type: "external", CreatedFrom: "email",
		CreatedAt: moment(u.CreatedAt), UpdatedAt: moment(u.UpdatedAt), LastLogin: signedIn, LastSignInAt: signedIn,
	}
	if has {
		p.Password, p.PasswordAt = "SET", moment(changed)
	}
	return p, nil
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// checkShown refuses what cannot be shown as one line.
func checkShown(field, value string, most int) error {
	if !shown(value, most) {
		return invalid("api.text_rule").with("field", field)
	}
	return nil
}

// A profileEdit is what a body says about a profile: nil is nothing, the empty text
// removes.
type profileEdit struct {
	Nickname, Picture, Gender, Birthdate, Zoneinfo, Description *text
}

func (e profileEdit) check() error {
	for _, field := range []struct {
		name  string
		value *text
		most  int
	}{
		{"nickname", e.Nickname, maxName}, {"gender", e.Gender, 32}, {"birthdate", e.Birthdate, 32},
		{"zoneinfo", e.Zoneinfo, 64}, {"description", e.Description, maxText}, {"picture", e.Picture, maxPicture},
	} {
		if field.value == nil {
			continue
		}
		if err := checkShown(field.name, field.value.value, field.most); err != nil {
			return err
		}
	}
	// Whoever shows the picture follows the URL.
	if e.Picture != nil && e.Picture.value != "" && !strings.HasPrefix(e.Picture.value, "https://") && !strings.HasPrefix(e.Picture.value, "http://") {
		return invalid("api.picture_rule")
	}
	return nil
}

func (e profileEdit) apply(p *account.Profile) {
	for _, field := range []struct {
		to   *string
		from *text
	}{
		{&p.Nickname, e.Nickname}, {&p.Picture, e.Picture}, {&p.Gender, e.Gender},
		{&p.Birthdate, e.Birthdate}, {&p.Zoneinfo, e.Zoneinfo}, {&p.Description, e.Description},
	} {
		if field.from != nil {
			*field.to = field.from.value
		}
	}
}

func (e profileEdit) empty() bool { return e == profileEdit{} }

type editRequest struct {
	UserID      *text `json:"user_id"`
	Email       *text `json:"email"`
	Phone       *text `json:"phone"`
	Username    *text `json:"username"`
	Name        *text `json:"name"`
	Nickname    *text `json:"nickname"`
	Description *text `json:"description"`
	AvatarURL   *text `json:"avatar_url"`
	Picture     *text `json:"picture"`
	Gender      *text `json:"gender"`
	Birthdate   *text `json:"birthdate"`
	Zoneinfo    *text `json:"zoneinfo"`
	Locale      *text `json:"locale"`

	// An encrypted password change, which this server does not take.
	EncryptPassword    *text `json:"encrypt_password"`
	EncryptNewPassword *text `json:"encrypt_new_password"`
}

func (r editRequest) profile() profileEdit {
	e := profileEdit{
		Nickname: r.Nickname, Picture: r.Picture, Gender: r.Gender,
		Birthdate: r.Birthdate, Zoneinfo: r.Zoneinfo, Description: r.Description,
	}
	if r.AvatarURL != nil {
		e.Picture = r.AvatarURL
	}
	return e
}

// editProfile is PATCH user/profile and PATCH user/me: everything but the address.
func (a *API) editProfile(c *call, req editRequest) (void, error) {
	req.Email, req.Phone = nil, nil
	return void{}, a.edit(c, req)
}

// editBasic is POST user/basic/edit. The SDK changes the address by it, with no proof
// in the call: the proof is the verification that this person has asked for, signed
// in, and has confirmed.
func (a *API) editBasic(c *call, req editRequest) (void, error) {
	switch {
	case req.UserID != nil && req.UserID.value != "" && req.UserID.value != c.claims.Subject:
		return void{}, errDenied("api.own_account")
	case req.EncryptPassword != nil, req.EncryptNewPassword != nil:
		return void{}, errUnimplemented()
	case req.Phone != nil && req.Phone.value != "":
		return void{}, invalid("api.email_only")
	}
	return void{}, a.edit(c, req)
}

// edit checks everything, then changes it.
func (a *API) edit(c *call, req editRequest) error {
	said := req.profile()
	if err := said.check(); err != nil {
		return err
	}
	address := req.Email != nil && req.Email.value != ""
	if address {
		if err := a.again(c); err != nil {
			return err
		}
	}
	u, err := a.edited(c, req)
	if err != nil {
		return err
	}
	switch {
	case address:
		err = a.editEmail(c, u, *req.Email)
	case u != c.user:
		_, err = a.Users.Update(c.Context(), u)
	}
	if err != nil {
		return clash(err)
	}
	if said.empty() {
		return nil
	}
	return a.Changes.EditProfile(c.Context(), u.Subject, said.apply)
}

// again asks once more who is signed in, the account first: a change that is stored
// by the version read here began while nobody had signed this person out.
func (a *API) again(c *call) error {
	u, err := a.Users.BySubject(c.Context(), c.user.Subject)
	if errors.Is(err, users.ErrNotFound) {
		return errUnauthenticated().because(err)
	}
	if err != nil {
		return err
	}
	if _, _, _, err = a.whoHolds(c.Context(), bearer(c.Request)); err != nil {
		return err
	}
	c.user = u
	return nil
}

// clash gives the clashes of a change of accounts their faults.
func clash(err error) error {
	switch {
	case errors.Is(err, users.ErrUsernameTaken):
		return precondition("api.username_taken").because(err)
	case errors.Is(err, users.ErrEmailTaken):
		return precondition("api.email_taken").because(err)
	}
	return err
}

// edited is the account as the request wants it, but for the address.
func (a *API) edited(c *call, req editRequest) (users.User, error) {
	u := c.user
	for _, field := range []struct {
		name string
		to   *string
		from *text
		most int
	}{{"name", &u.Name, req.Name, maxName}, {"locale", &u.Locale, req.Locale, 64}} {
		if field.from == nil {
			continue
		}
		if err := checkShown(field.name, field.from.value, field.most); err != nil {
			return u, err
		}
		*field.to = field.from.value
	}
	if req.Username != nil {
		free, err := a.usernameFree(c, req.Username.value, u.Subject)
		if err != nil {
			return u, err
		}
		if !free {
			return u, precondition("api.username_taken")
		}
		u.Username = req.Username.value
	}
	return u, nil
}

// editEmail changes the address of u to one whose proof this person has asked for.
// The call carries nothing but the access token, which every service of the app gets
// to see, so it has to come from a device that has signed in to the account. Others
// confirm who they are and change the contact.
func (a *API) editEmail(c *call, u users.User, email text) error {
	address, err := emailOf(email, text{})
	if err != nil {
		return err
	}
	if address.Identity() == u.EmailKey {
		if u != c.user {
			_, err = a.Users.Update(c.Context(), u)
		}
		return err
	}
	recs, err := a.Store.Get(c.Context(), a.Devices.Key(c.device))
	if err != nil {
		return err
	}
	if !a.Devices.Known(recs[0], u.EmailKey) {
		return errDenied("api.sudo")
	}
	box, err := a.Verifications.Requested(c.Context(), u.Subject, address.Identity(), c.client.ID, c.once)
	if errors.Is(err, verification.ErrInvalid) {
		return invalid("api.email_unproven").because(err)
	}
	if err != nil {
		return err
	}
	return a.changeEmail(c, u, box)
}

// changeEmail gives the account the proven address, as it was spelt for the proof.
func (a *API) changeEmail(c *call, u users.User, box verification.Mailbox) error {
	to, err := mail.ParseAddress(box.Email)
	if err != nil {
		return err
	}
	other, err := a.Users.ByEmail(c.Context(), to.Identity())
	switch {
	case err == nil && other.Subject != u.Subject:
		return precondition("api.email_taken")
	case err != nil && !errors.Is(err, users.ErrNotFound):
		return err
	case box.Spent && !u.UpdatedAt.Before(box.SpentAt):
		return errToken() // it was done, and the account has changed since
	}
	if err := a.spend(c, box); err != nil {
		return err
	}
	_, err = a.Changes.ChangeEmail(c.Context(), u, to, c.lang)
	return clash(err)
}

type providersResponse struct {
	Total int      `json:"total"`
	Data  []string `json:"data"`
}

// providers is GET user/provider: identities at other providers, of which there are
// none.
func (a *API) providers(*call, void) (providersResponse, error) {
	return providersResponse{Data: []string{}}, nil
}
