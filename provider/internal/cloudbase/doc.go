// Package cloudbase is the door for apps that were written for the email login of
// Tencent CloudBase ("login authentication v2") and its SDK, @cloudbase/js-sdk: the
// calls below /auth/v1 at the root of the issuer's origin.
//
// Its invariants: what an app gets here are ordinary tokens of the public client
// whose id is the app's environment id; every answer is a JSON object, an error one
// with error, error_code and error_description in the caller's language; and a call
// can be sent again with the same x-request-id, as the SDK does by itself, but for
// DELETE user/me and captcha/data/verify, which are done once.
//
// The walk of the documented flow:
//
//	POST verification         a verification of ownership is started; is_user says whether to sign in or up
//	POST verification/verify  the code becomes a verification_token
//	POST signup or signin     the token is spent; the account is made or found; tokens
//	GET  user/me              who that is
//
// What the token is spent for is checked completely before it is spent: a weak
// password or a taken username costs nobody a mail. A token is spent once and a grant
// is named after it, so that an answer which was lost is given again.
package cloudbase
