//! Profiles: list, create, change, delete, start and stop.

use axum::extract::State;
use http::StatusCode;
use paddock_platform::{
    http::{Json, Path, Query},
    identity::Caller,
    problem::Problem,
};
use serde_json::Value;
use utoipa_axum::routes;

use super::Routes;
use crate::service::{
    BrowserService, ChangeProfile, CreateProfile, InstanceView, ProfileAction, ProfileDone, ProfileLogQuery,
    ProfileMeta, ProfileQuery, ProfileView, StartRequest,
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_profiles, create_profile))
        .routes(routes!(create_profile_too))
        .routes(routes!(import_profile))
        .routes(routes!(change_profile_meta))
        .routes(routes!(get_profile, change_profile, delete_profile))
        .routes(routes!(start_profile))
        .routes(routes!(stop_profile))
        .routes(routes!(reset_profile))
        .routes(routes!(get_profile_instance))
        .routes(routes!(get_profile_log))
        .routes(routes!(get_profile_analytics))
}

/// Lists the profiles of the caller's tenant, by name.
#[utoipa::path(get, path = "/profiles", tag = "browser", params(ProfileQuery),
    responses((status = OK, body = Vec<ProfileView>)))]
async fn list_profiles(
    State(service): Service,
    caller: Caller,
    Query(query): Query<ProfileQuery>,
) -> Result<Json<Vec<ProfileView>>, Problem> {
    Ok(Json(service.profiles(&caller, query).await?))
}

/// Creates a profile: cookies and storage that outlive the instances that use it.
#[utoipa::path(post, path = "/profiles", tag = "browser", request_body = CreateProfile,
    responses((status = CREATED, body = ProfileDone)))]
async fn create_profile(
    State(service): Service,
    caller: Caller,
    Json(request): Json<CreateProfile>,
) -> Result<(StatusCode, Json<ProfileDone>), Problem> {
    Ok((StatusCode::CREATED, Json(service.create_profile(&caller, request).await?)))
}

/// Creates a profile; another name of `POST /profiles`.
#[utoipa::path(post, path = "/profiles/create", tag = "browser", request_body = CreateProfile,
    responses((status = CREATED, body = ProfileDone)))]
async fn create_profile_too(
    service: Service,
    caller: Caller,
    request: Json<CreateProfile>,
) -> Result<(StatusCode, Json<ProfileDone>), Problem> {
    create_profile(service, caller, request).await
}

/// Not done: profile directories of other browsers are not read.
#[utoipa::path(post, path = "/profiles/import", tag = "browser",
    responses((status = NOT_IMPLEMENTED, description = "Always.")))]
async fn import_profile(State(service): Service, caller: Caller) -> Result<Json<ProfileDone>, Problem> {
    Ok(Json(service.import_profile(&caller)?))
}

/// Changes the texts of a profile that the body names.
#[utoipa::path(patch, path = "/profiles/meta", tag = "browser", request_body = ProfileMeta,
    responses((status = OK, body = ProfileDone)))]
async fn change_profile_meta(
    State(service): Service,
    caller: Caller,
    Json(request): Json<ProfileMeta>,
) -> Result<Json<ProfileDone>, Problem> {
    Ok(Json(service.change_profile_meta(&caller, request).await?))
}

/// Shows a profile, by id or name.
#[utoipa::path(get, path = "/profiles/{id}", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = ProfileView)))]
async fn get_profile(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ProfileView>, Problem> {
    Ok(Json(service.profile(&caller, &id).await?))
}

/// Changes a profile, by its id. With another name it gets another id.
#[utoipa::path(patch, path = "/profiles/{id}", tag = "browser", params(("id" = String, Path)),
    request_body = ChangeProfile, responses((status = OK, body = ProfileDone)))]
async fn change_profile(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
    Json(request): Json<ChangeProfile>,
) -> Result<Json<ProfileDone>, Problem> {
    Ok(Json(service.change_profile(&caller, &id, request).await?))
}

/// Deletes a profile with its cookies and storage, by its id.
#[utoipa::path(delete, path = "/profiles/{id}", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = ProfileDone)))]
async fn delete_profile(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ProfileDone>, Problem> {
    Ok(Json(service.delete_profile(&caller, &id).await?))
}

/// Starts the instance of a profile, by id or name. A profile has one at a time.
#[utoipa::path(post, path = "/profiles/{id}/start", tag = "browser", params(("id" = String, Path)),
    request_body = Option<StartRequest>, responses((status = CREATED, body = InstanceView)))]
async fn start_profile(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
    request: Option<Json<StartRequest>>,
) -> Result<(StatusCode, Json<InstanceView>), Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok((StatusCode::CREATED, Json(service.start_profile(&caller, &id, request).await?)))
}

/// Stops the instance of a profile, by id or name; its cookies and storage are saved.
#[utoipa::path(post, path = "/profiles/{id}/stop", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = ProfileDone)))]
async fn stop_profile(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ProfileDone>, Problem> {
    Ok(Json(service.stop_profile(&caller, &id).await?))
}

/// Forgets the cookies and storage of a profile, by its id.
#[utoipa::path(post, path = "/profiles/{id}/reset", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = ProfileDone)))]
async fn reset_profile(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ProfileDone>, Problem> {
    Ok(Json(service.reset_profile(&caller, &id).await?))
}

/// Tells which instance uses a profile.
#[utoipa::path(get, path = "/profiles/{id}/instance", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Value)))]
async fn get_profile_instance(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(service.profile_instance(&caller, &id).await?))
}

/// Tells what the instance that uses a profile was asked for.
#[utoipa::path(get, path = "/profiles/{id}/logs", tag = "browser", params(("id" = String, Path), ProfileLogQuery),
    responses((status = OK, body = Vec<ProfileAction>)))]
async fn get_profile_log(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ProfileLogQuery>,
) -> Result<Json<Vec<ProfileAction>>, Problem> {
    Ok(Json(service.profile_log(&caller, &id, query).await?))
}

/// Tells the figures of a profile.
#[utoipa::path(get, path = "/profiles/{id}/analytics", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Value)))]
async fn get_profile_analytics(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(service.profile_analytics(&caller, &id).await?))
}
