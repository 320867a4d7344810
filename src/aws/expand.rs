use crate::{
    model::{ClusterModel, StackModel},
    resource::ClusterPart,
};

/// The cluster of a stack with its network and nodes; nothing if it is not one of AWS.
pub fn expand(model: &StackModel) -> Option<ClusterPart> {
    let ClusterModel::Eks(_) = &model.cluster else {
        return None;
    };
    None
}
